"""Text made safe for Markdown and HTML."""

from headway.wording import plain, sentence, tag


def test_markup_is_taken_out_of_what_people_wrote() -> None:
    said = plain("**b** [x](http://e.example) :smile: www.e.example a@e.example <b>")
    assert "**" not in said and "](" not in said and "\\<b\\>" in said
    assert ":smile" not in said and "www\\." not in said and "@e" not in said


def test_a_tag_s_text_is_no_html() -> None:
    assert tag("strong", "<b> & 'c'") == "<strong>&lt;b&gt; &amp; &#x27;c&#x27;</strong>"


def test_a_sentence_begins_with_a_capital() -> None:
    assert sentence("there is no run 7") == "There is no run 7"
    assert sentence("") == ""
