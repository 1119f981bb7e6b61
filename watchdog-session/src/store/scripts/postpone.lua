-- session.postpone.v1: takes events from whoever holds them, and keeps them until they may be taken
-- over. KEYS: 1 stream. ARGV: ids. Answers how many those are.
local reply = redis.pcall('XCLAIM', KEYS[1], 'audit', 'aside', '0', unpack(ARGV))
if not reply.err then return #reply end
if string.find(reply.err, 'NOGROUP', 1, true) then return 0 end
return reply
