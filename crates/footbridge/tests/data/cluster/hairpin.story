--cluster=../../../labs/article.yaml
--endpoint=10.222.1.47:80
backend1
backendsvc:80
