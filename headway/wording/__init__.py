"""How instants, lengths, sizes, states and troubles are written, for every entrance: values in, text out.

No module of it reads a clock, a database or a screen.
"""

from headway.wording.instants import clock_time, day_and_time, from_to, in_zone, in_zone_briefly, zones
from headway.wording.lengths import clock_length, count, length, length_in_words
from headway.wording.markup import plain, sentence, tag
from headway.wording.schedules import cron_in_words, schedule_in_words
from headway.wording.states import LEVELS, duration, picked_up, process_in_words, size, size_kb, trouble

__all__ = [
    "LEVELS",
    "clock_length",
    "clock_time",
    "count",
    "cron_in_words",
    "day_and_time",
    "duration",
    "from_to",
    "in_zone",
    "in_zone_briefly",
    "length",
    "length_in_words",
    "picked_up",
    "plain",
    "process_in_words",
    "schedule_in_words",
    "sentence",
    "size",
    "size_kb",
    "tag",
    "trouble",
    "zones",
]
