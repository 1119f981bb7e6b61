#!lua flags=allow-oom
-- Changes the generation. It follows the clock, so that a promoted replica that lacks the last
-- change does not come to the same number again.
-- KEYS  generation
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local before = tonumber(redis.call('GET', KEYS[1]) or '0')
if now <= before then
  now = before + 1
end
redis.call('SET', KEYS[1], string.format('%.0f', now))
return 1
