-- broker/tasks.lua: what `sh run.sh status` tells of the tasks: KEY=VALUE lines. The names are those of postdo_tasks/watch.py.
-- A task waits at the end of its list; when it was sent stands in its headers, if the starter's web/config/celery.py sent it.
local now = tonumber(redis.call('TIME')[1])
local waiting, oldest = 0, nil
for _, queue in ipairs(redis.call('SMEMBERS', 'postdo:queues')) do
    waiting = waiting + redis.call('LLEN', queue)
    local last = redis.call('LINDEX', queue, -1)
    local ok, message = pcall(cjson.decode, last or '')
    local sent = ok and type(message) == 'table' and message.headers and tonumber(message.headers.sent)
    if sent and (not oldest or now - sent > oldest) then oldest = math.max(0, now - sent) end
end
local running = 0
for _, worker in ipairs(redis.call('SMEMBERS', 'postdo:workers')) do
    running = running + redis.call('ZCARD', 'unacked_index.' .. worker)
end
local failed = 0
for hour = math.floor(now / 3600) - 23, math.floor(now / 3600) do
    failed = failed + (tonumber(redis.call('GET', 'postdo:failed:' .. hour)) or 0)
end
return string.format('waiting=%d\nrunning=%d\noldest=%s\nfailed=%d\nunknown=%d', waiting, running,
    oldest and string.format('%d', oldest) or '', failed, redis.call('LLEN', 'postdo.unknown'))
