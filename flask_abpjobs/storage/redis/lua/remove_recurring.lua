-- id, tenant scope
local head = call('HGET', P .. 'recurring:heads', ARGV[1])
if not head then return 0 end
if ARGV[2] ~= '*' and string.match(head, '^%d+:(.*)$') ~= ARGV[2] then return 0 end
call('ZREM', P .. 'recurring:due', ARGV[1])
call('HDEL', P .. 'recurring:heads', ARGV[1])
call('HDEL', P .. 'recurring', ARGV[1])
return 1
