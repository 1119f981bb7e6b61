local function by_age(a, b)
  if a.head.created ~= b.head.created then return a.head.created < b.head.created end
  return a.id < b.id
end

local function by_use(a, b)
  if a.head.seen ~= b.head.seen then return a.head.seen < b.head.seen end
  return by_age(a, b)
end

-- All sessions of the user, the oldest first, and all other fields. What is no record is removed.
local function load_all()
  local all, others = {}, {}
  local fields = redis.call('HGETALL', users)
  for i = 1, #fields, 2 do
    local name, value = fields[i], fields[i + 1]
    if string.sub(name, 1, 2) ~= 's:' then
      others[name] = value
    elseif #value < COMMON_BYTES then
      redis.call('HDEL', users, name)
    else
      all[#all + 1] = { id = string.sub(name, 3), record = value, head = common(value) }
    end
  end
  table.sort(all, by_age)
  return all, others
end
