-- The end of session.rotate.v2: the session was over, or ends by this token.
local head = { header = header, created = created }
if verdict == 'expired' then
  reach(data_of(session))
  forget(session)
  report('expired', session, record, head)
else
  revoke(session, head)
  report('reuse', session, record, head, unpack(details or {}))
end
return { verdict, now }
