#!lua flags=allow-oom
-- Raises the fencing token of a partition and answers the newest.
-- KEYS  partition hash
-- ARGV  token
local newest = tonumber(redis.call('HGET', KEYS[1], 'fence') or '0')
if tonumber(ARGV[1]) > newest then
  redis.call('HSET', KEYS[1], 'fence', ARGV[1])
  return ARGV[1]
end
return string.format('%.0f', newest)
