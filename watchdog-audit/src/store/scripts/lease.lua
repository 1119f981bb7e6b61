#!lua flags=allow-oom
-- Takes or renews the lease of the archiver; 1 when the holder has it now.
-- KEYS  lease
-- ARGV  holder, life in ms ('0' gives it back)
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
  return 0
end
if ARGV[2] == '0' then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
return 1
