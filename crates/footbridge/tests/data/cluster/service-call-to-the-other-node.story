--cluster=../../../labs/article.yaml
--endpoint=10.222.2.34:80
frontend
backendsvc:80
