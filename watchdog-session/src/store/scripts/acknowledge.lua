-- session.acknowledge.v1: forgets events that reached their sink, and the stream with the last one:
-- an empty one would stay for ever. KEYS: 1 stream. ARGV: ids. Answers how many are left.
redis.call('XACK', KEYS[1], 'audit', unpack(ARGV))
redis.call('XDEL', KEYS[1], unpack(ARGV))
local left = redis.call('XLEN', KEYS[1])
if left == 0 then redis.call('DEL', KEYS[1]) end
return left
