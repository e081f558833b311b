return call('TIME')
