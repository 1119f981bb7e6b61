#!lua flags=allow-oom
-- Wraps a key anew by comparison: 1 when the new form stands, 0 when neither does.
-- KEYS  bucket
-- ARGV  handle, label, old wrapped key, new wrapped key
local stands = redis.call('HGET', KEYS[1], ARGV[1])
if stands == ARGV[2] .. ':' .. ARGV[4] then
  return 1
end
if stands ~= ARGV[2] .. ':' .. ARGV[3] then
  return 0
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ':' .. ARGV[4])
return 1
