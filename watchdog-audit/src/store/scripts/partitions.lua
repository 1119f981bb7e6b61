#!lua flags=allow-oom
-- Raises the number of partitions and answers the greatest there has been.
-- KEYS  number of partitions
-- ARGV  number of partitions
local greatest = tonumber(redis.call('GET', KEYS[1]) or '0')
if tonumber(ARGV[1]) > greatest then
  redis.call('SET', KEYS[1], ARGV[1])
  return tonumber(ARGV[1])
end
return greatest
