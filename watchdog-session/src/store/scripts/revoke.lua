-- session.revoke.v2: removes one session. ARGV: 5 reason. Answers {life before, now}.
local life, record, head = settle(session)
if life == 'alive' then
  revoke(session, head)
  report('revoked', session, record, head, 'd:reason', ARGV[5])
end
return { life, now }
