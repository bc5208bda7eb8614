package escrow

//go:generate env GOWORK=off go run -C ../tools ./protogen ../escrow/escrow.proto ../escrow/escrowpb
