-- Writes something, so that `WAIT` on this connection covers all that was written before it, and
-- answers the last number of a writer that this server has.
-- KEYS  partition hash, high-water hash
-- ARGV  writer
redis.call('HINCRBY', KEYS[1], 'barrier', 1)
return string.match(redis.call('HGET', KEYS[2], ARGV[1]) or '0:', '^(%d+):')
