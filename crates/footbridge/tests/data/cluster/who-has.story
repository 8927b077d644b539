worker1
who-has
10.222.2.1
