-- session.report.v2: one event about a living session.
-- ARGV: 5 action, 6 on: details as name and value. Answers {life, now}.
local life, record, head = settle(session)
if life == 'alive' then report(ARGV[5], session, record, head, unpack(ARGV, 6)) end
return { life, now }
