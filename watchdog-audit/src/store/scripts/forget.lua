-- Takes away the numbers of writers that the archive knows: all it has of each is archived.
-- KEYS  high-water hash
-- ARGV  writer, last archived number; again for each further writer
local forgotten = 0
for index = 1, #ARGV, 2 do
  local mark = string.match(redis.call('HGET', KEYS[1], ARGV[index]) or '', '^(%d+):')
  if mark and tonumber(mark) <= tonumber(ARGV[index + 1]) then
    forgotten = forgotten + redis.call('HDEL', KEYS[1], ARGV[index])
  end
end
return forgotten
