-- key of Huey's data
local value = call('HGET', P .. 'kv', ARGV[1])
if value then call('HDEL', P .. 'kv', ARGV[1]) end
return value
