#!lua flags=allow-oom
-- Keeps the key of a subject that has none, and answers the one that stands: "<label>:<wrapped>".
-- Nothing stands and the label was erased: nil. Replayed verbatim it changes nothing.
-- KEYS  bucket
-- ARGV  handle, label, wrapped key
local stands = redis.call('HGET', KEYS[1], ARGV[1])
if stands then
  return stands
end
local erased = redis.call('HGET', KEYS[1], ARGV[1] .. '!') or ''
if string.find(',' .. erased .. ',', ',' .. ARGV[2] .. ',', 1, true) then
  return false
end
local key = ARGV[2] .. ':' .. ARGV[3]
redis.call('HSET', KEYS[1], ARGV[1], key)
return key
