-- Appends one frame to the open segment of a partition; all or nothing.
-- Replayed verbatim it answers "duplicate" and changes nothing; the checksum of the writer's last
-- frame comes along, which tells a replay from the frame of somebody who writes under the same id.
-- KEYS  partition hash, high-water hash, segment stream
-- ARGV  segment number, writer, first, count, frame, max bytes, max age in ms, frame's checksum
local number = tonumber(ARGV[1])
local first = tonumber(ARGV[3])
local count = tonumber(ARGV[4])
local last = first + count - 1
local mark, checksum =
  string.match(redis.call('HGET', KEYS[2], ARGV[2]) or '0:' .. string.rep('0', 32), '^(%d+):(%x+)$')
mark = tonumber(mark)
if last <= mark then
  return { 'duplicate', mark, checksum }
end
if first ~= mark + 1 then
  return { 'out_of_order', mark }
end
local held = redis.call('HMGET', KEYS[1],
  'open', 'frames', 'last_ms', 'seg_frames', 'seg_bytes', 'seg_first_ms')
local open = tonumber(held[1] or '1')
if number ~= open then
  return { 'not_open', open }
end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local before = tonumber(held[3] or '0')
if now < before then
  now = before
end
local frame = tonumber(held[2] or '0') + 1
local begun = now
if tonumber(held[4] or '0') > 0 then
  begun = tonumber(held[6])
end
local bytes = tonumber(held[5] or '0') + #ARGV[5]
local id = string.format('%.0f-%.0f', now, frame)
redis.call('XADD', KEYS[3], id, 'd', ARGV[5])
redis.call('HSET', KEYS[2], ARGV[2], string.format('%.0f', last) .. ':' .. ARGV[8])
redis.call('HSET', KEYS[1],
  'open', string.format('%.0f', open),
  'frames', string.format('%.0f', frame),
  'last_ms', string.format('%.0f', now),
  'seg_bytes', string.format('%.0f', bytes),
  'seg_first_ms', string.format('%.0f', begun))
redis.call('HINCRBY', KEYS[1], 'seg_frames', 1)
redis.call('HINCRBY', KEYS[1], 'seg_entries', count)
local due = 0
if bytes >= tonumber(ARGV[6]) or now - begun >= tonumber(ARGV[7]) then
  due = 1
end
return { 'stored', due, id }
