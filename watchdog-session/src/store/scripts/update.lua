-- session.update.v2: changes attributes of a living session, all or none.
-- ARGV: 5 nonce, 6 expected version of the whole or '', 7 whether all go first, 8 on: for each change
-- name, expected version or '', whether it is set, value. Answers {outcome, now, version}.
local MOST, MOST_RECENT, MEMORY, ENTRY_BYTES = 64, 64, 60000, 24
local nonce, expected, is_cleared = ARGV[5], ARGV[6], ARGV[7] == '1'
local life, record, head = settle(session)
if life ~= 'alive' then return { life, now } end

local data = data_of(session)
reach(data)
local held = redis.call('HMGET', data, 'v', 'n')
local version, recent = tonumber(held[1] or 0), {}
for at = 1, #(held[2] or ''), ENTRY_BYTES do
  local entry = string.sub(held[2], at, at + ENTRY_BYTES - 1)
  local made_by, made_at, made = struct.unpack('>c8I8I8', entry)
  if made_by == nonce then return { 'done', now, made } end
  if now <= made_at + MEMORY then recent[#recent + 1] = entry end
end
if expected ~= '' and tonumber(expected) ~= version then return { 'conflict', now, version } end

local count = redis.call('HLEN', data)
if held[1] then count = count - 1 end
if held[2] then count = count - 1 end
if is_cleared then count = 0 end
local set, removed = {}, {}
for at = 8, #ARGV, 4 do
  local field, is_set = 'a:' .. ARGV[at], ARGV[at + 2] == '1'
  local value = redis.call('HGET', data, field)
  local stands = value and struct.unpack('>I8', value) or 0
  if ARGV[at + 1] ~= '' and tonumber(ARGV[at + 1]) ~= stands then
    return { 'conflict', now, version }
  end
  local is_held = value and not is_cleared
  if is_set then
    set[#set + 1] = field
    set[#set + 1] = struct.pack('>I8', version + 1) .. ARGV[at + 3]
    if not is_held then count = count + 1 end
  elseif is_held then
    removed[#removed + 1] = field
    count = count - 1
  end
end
if count > MOST then return { 'full', now } end
if is_cleared then
  local stays = { v = true, n = true }
  for at = 1, #set, 2 do stays[set[at]] = true end
  for _, field in ipairs(redis.call('HKEYS', data)) do
    if not stays[field] then removed[#removed + 1] = field end
  end
end

version = version + 1
recent[#recent + 1] = struct.pack('>c8I8I8', nonce, now, version)
local first = math.max(1, #recent - MOST_RECENT + 1)
redis.call('HSET', data, 'v', text(version), 'n', table.concat(recent, '', first))
if #set > 0 then redis.call('HSET', data, unpack(set)) end
if #removed > 0 then redis.call('HDEL', data, unpack(removed)) end
redis.call('PEXPIREAT', data, text(head.deadline + SLACK))
return { 'done', now, version }
