#!lua flags=allow-oom
-- The gate: the only place that gives an archived segment a life that ends.
-- Replayed verbatim it answers "already" and changes nothing.
-- KEYS  partition hash, sealed hash, segment stream, proof, held hash
-- ARGV  segment number, entries, frames, token, manifest number, manifest hash, life in ms,
--       last change of the legal holds, '1' when one covers the segment, id of the last frame ('' is
--       not compared), frames that are gone, as the manifest says
local number = tonumber(ARGV[1])
local token = tonumber(ARGV[4])
local held = redis.call('HMGET', KEYS[1], 'open', 'fence', 'head', 'holds')
local newest = tonumber(held[2] or '0')
if token < newest then
  return { 'fenced', string.format('%.0f', newest) }
end
if token > newest then
  redis.call('HSET', KEYS[1], 'fence', ARGV[4])
end
if number >= tonumber(held[1] or '1') then
  return { 'not_sealed', '0' }
end
local sealed = redis.call('HGET', KEYS[2], ARGV[1])
if not sealed then
  return { 'already', '0' }
end
if (held[4] or '00000000-0000-0000-0000-000000000000') ~= ARGV[8] then
  return { 'holds_changed', '0' }
end
local entries, frames, last = string.match(sealed, '^(%d+):(%d+):%d+:%d+:(%d+)$')
-- The stream may hold more than was counted: a frame twice, after two crashes of Redis.
if entries ~= ARGV[2] or tonumber(ARGV[3]) + tonumber(ARGV[11]) < tonumber(frames)
  or redis.call('XLEN', KEYS[3]) ~= tonumber(ARGV[3])
  or #ARGV[6] ~= 64 then
  return { 'mismatch', '0' }
end
-- Emptied and filled anew, the store may have another segment here, with as many frames.
if ARGV[10] ~= '' and redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1)[1][1] ~= ARGV[10] then
  return { 'mismatch', '0' }
end
local manifest = ARGV[5] .. ':' .. ARGV[6]
local head = tonumber(string.match(held[3] or '0:', '^(%d+):'))
if tonumber(ARGV[5]) > head then
  redis.call('HSET', KEYS[1], 'head', manifest)
end
if ARGV[9] == '1' then
  redis.call('SET', KEYS[4], manifest)
  redis.call('HSET', KEYS[5], ARGV[1], last)
  redis.call('HDEL', KEYS[2], ARGV[1])
  return { 'held', '0' }
end
local expires = string.format('%.0f', tonumber(last) + tonumber(ARGV[7]))
redis.call('SET', KEYS[4], manifest)
redis.call('PEXPIREAT', KEYS[4], expires)
redis.call('HDEL', KEYS[2], ARGV[1])
redis.call('PEXPIREAT', KEYS[3], expires)
return { 'archived', expires }
