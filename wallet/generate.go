package wallet

//go:generate env GOWORK=off go run -C ../tools ./protogen ../wallet/wallet.proto ../wallet/walletpb
