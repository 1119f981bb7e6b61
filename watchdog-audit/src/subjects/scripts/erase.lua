#!lua flags=allow-oom
-- Destroys the key of a subject and remembers its label; answers how many keys that were.
-- KEYS  bucket
-- ARGV  handle
local stands = redis.call('HGET', KEYS[1], ARGV[1])
if not stands then
  return 0
end
local label = string.match(stands, '^([^:]*):')
local erased = redis.call('HGET', KEYS[1], ARGV[1] .. '!')
if erased then
  label = erased .. ',' .. label
end
redis.call('HSET', KEYS[1], ARGV[1] .. '!', label)
redis.call('HDEL', KEYS[1], ARGV[1])
return 1
