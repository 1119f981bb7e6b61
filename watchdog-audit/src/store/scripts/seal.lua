#!lua flags=allow-oom
-- Seals the open segment and opens the next.
-- Replayed verbatim it answers "already" and changes nothing.
-- KEYS  partition hash, sealed hash, segment stream
-- ARGV  segment number, life of the last entry in ms ('' when the segment is to be archived; not
--       heeded once the partition has a fence: somebody archives it)
local number = tonumber(ARGV[1])
local held = redis.call('HMGET', KEYS[1],
  'open', 'last_ms', 'seg_frames', 'seg_entries', 'seg_bytes', 'seg_first_ms', 'fence')
local open = tonumber(held[1] or '1')
if number ~= open then
  return { 'already', open }
end
if tonumber(held[3] or '0') == 0 then
  return { 'empty', open }
end
if ARGV[2] == '' or tonumber(held[7] or '0') > 0 then
  redis.call('HSET', KEYS[2], ARGV[1],
    held[4] .. ':' .. held[3] .. ':' .. held[5] .. ':' .. held[6] .. ':' .. held[2])
else
  redis.call('HSET', KEYS[1], 'unarchived', string.format('%.0f', open))
  redis.call('PEXPIREAT', KEYS[3], string.format('%.0f', tonumber(held[2]) + tonumber(ARGV[2])))
end
redis.call('HSET', KEYS[1], 'open', string.format('%.0f', open + 1),
  'seg_frames', '0', 'seg_entries', '0', 'seg_bytes', '0', 'seg_first_ms', '0')
return { 'sealed', open + 1 }
