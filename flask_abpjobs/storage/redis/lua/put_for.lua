-- key of Huey's data, value, seconds. A server that cannot let one field expire refuses before anything is written.
call('HTTL', P .. 'kv', 'FIELDS', 1, ARGV[1])
if call('HSETNX', P .. 'kv', ARGV[1], ARGV[2]) == 0 then return 0 end
call('HEXPIRE', P .. 'kv', ARGV[3], 'FIELDS', 1, ARGV[1])
return 1
