-- queue
call('SREM', P .. 'paused', ARGV[1])
wake(ARGV[1], call('ZCARD', P .. 'ready:' .. ARGV[1]))
return 1
