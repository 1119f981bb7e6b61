-- session.touch.v1: notes that a session is used, at most once an interval.
-- ARGV: 5 interval (ms). Answers {life, now}.
local life, record, head = settle(session)
if life == 'alive' and now >= head.seen + tonumber(ARGV[5]) then
  redis.call('HSET', users, 's:' .. session,
    string.sub(record, 1, 20) .. struct.pack('>I8', now) .. string.sub(record, 29))
end
return { life, now }
