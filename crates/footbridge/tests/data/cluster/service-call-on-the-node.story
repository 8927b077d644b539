--cluster=../../../labs/article.yaml
frontend
backendsvc:80
