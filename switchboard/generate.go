package switchboard

//go:generate env GOWORK=off go run -C ../tools ./protogen ../switchboard/switchboard.proto ../switchboard/switchboardpb
