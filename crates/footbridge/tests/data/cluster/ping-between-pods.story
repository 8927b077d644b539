--markdown
frontend
backend2
