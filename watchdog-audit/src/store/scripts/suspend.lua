#!lua flags=allow-oom
-- Takes back the life of segments for a legal hold; answers which of them are held now.
-- A sealed stream never changes: its last id tells when its last entry was stored.
-- KEYS  held hash, then a segment stream and its proof for each segment
-- ARGV  the segments' numbers
local held = {}
for index, number in ipairs(ARGV) do
  local stream, proof = KEYS[2 * index], KEYS[2 * index + 1]
  if redis.call('PTTL', stream) >= 0 then
    local last = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1][1]
    redis.call('HSET', KEYS[1], number, string.match(last, '^(%d+)-'))
    redis.call('PERSIST', stream)
    redis.call('PERSIST', proof)
    held[#held + 1] = number
  elseif redis.call('HEXISTS', KEYS[1], number) == 1 then
    held[#held + 1] = number
  end
end
return held
