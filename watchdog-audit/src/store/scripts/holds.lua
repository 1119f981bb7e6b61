#!lua flags=allow-oom
-- Announces that the legal holds have changed.
-- KEYS  partition hash
-- ARGV  the change
redis.call('HSET', KEYS[1], 'holds', ARGV[1])
return 1
