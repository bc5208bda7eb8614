package client

//go:generate env GOWORK=off go run -C ../tools ./protogen ../client/client.proto ../client/clientpb
