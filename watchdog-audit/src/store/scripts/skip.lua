-- Lets a writer go on after entries that are archived and that this server has lost; a number
-- never falls. No frame has the checksum that is left in its place.
-- KEYS  high-water hash
-- ARGV  writer, last archived number
local last = tonumber(ARGV[2])
local mark = tonumber(string.match(redis.call('HGET', KEYS[1], ARGV[1]) or '0:', '^(%d+):'))
if last > mark then
  redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', last) .. ':' .. string.rep('0', 32))
  mark = last
end
return string.format('%.0f', mark)
