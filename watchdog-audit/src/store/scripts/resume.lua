#!lua flags=allow-oom
-- Gives a segment the life back that a legal hold took.
-- KEYS  partition hash, held hash, segment stream, proof
-- ARGV  segment number, life in ms, last change of the legal holds
local holds = redis.call('HGET', KEYS[1], 'holds')
if (holds or '00000000-0000-0000-0000-000000000000') ~= ARGV[3] then
  return { 'holds_changed', '0' }
end
local last = redis.call('HGET', KEYS[2], ARGV[1])
if not last then
  return { 'not_held', '0' }
end
local expires = string.format('%.0f', tonumber(last) + tonumber(ARGV[2]))
redis.call('HDEL', KEYS[2], ARGV[1])
redis.call('PEXPIREAT', KEYS[4], expires)
redis.call('PEXPIREAT', KEYS[3], expires)
return { 'resumed', expires }
