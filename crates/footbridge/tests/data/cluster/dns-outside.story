frontend
8.8.8.8:53/udp
