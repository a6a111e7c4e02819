/*
title: Permits expiring
description: Active permits that end within so many days, the day of the run included
parameters:
  days: {type: integer, minimum: 0, maximum: 3650, default: 30, title: Within days}
  lot: {type: text, default: null, description: Code of one lot; empty means all}
columns:
  number: {heading: Permit, width: 12}
  valid_to: {heading: Valid to, format: date}
  days_left: {heading: Days left, format: integer}
  customer: {heading: Customer, width: 24}
  email: {heading: Mail, width: 32}
  phone: {heading: Phone, width: 15}
  lot: {heading: Lot, width: 20}
  plate: {heading: Plate, width: 10}
  price: {heading: Price, format: money, total: sum}
*/
SELECT
  permit.number AS number,
  permit.valid_to AS valid_to,
  {{ days_between(:today, permit.valid_to) }} AS days_left,
  customer.first_name || ' ' || customer.last_name AS customer,
  customer.email AS email,
  customer.phone AS phone,
  lot.name AS lot,
  permit.plate AS plate,
  permit.price_cents AS price
FROM permit
JOIN customer ON customer.uid = permit.customer_uid
JOIN lot ON lot.uid = permit.lot_uid
WHERE permit.status = 'active'
  AND permit.valid_to >= :today
  AND permit.valid_to <= {{ add_days(:today, :days) }}
  AND (:lot IS NULL OR lot.code = :lot)
ORDER BY permit.valid_to, permit.number
