#!lua flags=no-writes,allow-oom
-- Tells the time by the clock that the frames of a partition are stored by, in ms since 1970.
-- KEYS  partition hash, which says whose clock that is
local time = redis.call('TIME')
return string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
