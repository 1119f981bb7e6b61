-- session.regenerate.v2: a new session in exchange for a living one.
-- ARGV: 5 the new id, 6 its record. Answers {outcome, now}.
local LEAD = 100
local successor, fresh = ARGV[5], ARGV[6]
local life, record, head = settle(session)
if life == 'gone' and is_same_secret(redis.call('HGET', users, 's:' .. successor), fresh) then
  return { 'done', now }
end
if life ~= 'alive' then return { life, now } end
if #fresh < COMMON_BYTES then return { 'unfit', now } end
local after = common(fresh)
if after.created ~= head.created
    or redis.call('HEXISTS', users, 's:' .. successor) == 1 then
  return { 'unfit', now }
end
if after.seen > now + LEAD then return { 'skewed', now } end

reach(data_of(session), data_of(successor), marker_key())
redis.call('HSET', users, 's:' .. successor, string.sub(fresh, 1, 20)
  .. struct.pack('>I8', math.max(after.seen, head.seen)) .. string.sub(fresh, 29))
keep_until(after.deadline + SLACK)
if redis.call('EXISTS', data_of(session)) == 1 then
  redis.call('RENAME', data_of(session), data_of(successor))
  redis.call('PEXPIREAT', data_of(successor), text(after.deadline + SLACK))
end
revoke(session, head)
report('regenerated', session, record, head, 'd:successor', successor)
return { 'done', now }
