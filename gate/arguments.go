package gate

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
)

// Arguments reads the command line of a program that takes the name of its
// configuration and nothing else, and returns that name. It ends the process where the
// command line is wrong, or where there is no such file. About says what the program
// is, and page where its configuration is described.
func Arguments(name, about, page string) string {
	path := flag.String("config", name+".toml", "configuration `FILE`")
	flag.Usage = func() {
		fmt.Fprintf(flag.CommandLine.Output(), "%s is %s.\n\nusage:\n  %s [--config FILE]\n\nFILE is %s.toml where none is named. %s says what stands in it,\nlatchkey doctor --config FILE what is wrong with one.\n", name, about, name, name, page)
	}
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "error: unknown argument %q\nhint: %s --config FILE\n", flag.Arg(0), name)
		os.Exit(2)
	}
	f, err := os.Open(*path)
	if errors.Is(err, fs.ErrNotExist) {
		fmt.Fprintf(os.Stderr, "error: configuration: %v; name one with --config FILE; %s says what stands in it\n", err, page)
		os.Exit(1)
	} else if err == nil {
		_ = f.Close()
	}
	return *path
}
