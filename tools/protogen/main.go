// Protogen writes the Go code of a .proto file, with the pinned plugins
// protoc-gen-go and protoc-gen-connect-go and without a protoc.
//
//	go run -C tools ./protogen ../wallet/wallet.proto ../wallet/walletpb
//
// With -check it writes nothing, and fails if what is there differs.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/protoutil"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

// plugins and the parameter each is given.
var plugins = [][2]string{
	{"protoc-gen-go", "paths=source_relative"},
	{"protoc-gen-connect-go", "paths=source_relative,simple,package_suffix"},
}

func main() {
	check := flag.Bool("check", false, "compare, and write nothing")
	flag.Parse()
	if flag.NArg() != 2 {
		fmt.Fprintln(os.Stderr, "usage: protogen [-check] FILE.proto FOLDER")
		os.Exit(2)
	}
	if err := run(flag.Arg(0), flag.Arg(1), *check); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(file, folder string, check bool) error {
	request, err := compile(file)
	if err != nil {
		return err
	}
	for _, p := range plugins {
		request.Parameter = proto.String(p[1])
		files, err := generate(p[0], request)
		if err != nil {
			return err
		}
		for _, f := range files {
			path := filepath.Join(folder, f.GetName())
			if check {
				have, err := os.ReadFile(path)
				if err != nil || !bytes.Equal(have, []byte(f.GetContent())) {
					return fmt.Errorf("%s is not what %s generates: run go generate", path, file)
				}
				continue
			}
			if err := os.WriteFile(path, []byte(f.GetContent()), 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

// compile parses and links one file; it may import nothing but Google's own.
func compile(file string) (*pluginpb.CodeGeneratorRequest, error) {
	name := filepath.Base(file)
	compiler := protocompile.Compiler{
		Resolver:       protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{filepath.Dir(file)}}),
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	linked, err := compiler.Compile(context.Background(), name)
	if err != nil {
		return nil, err
	}
	var all []*descriptorpb.FileDescriptorProto
	seen := make(map[string]bool)
	var add func(protoreflect.FileDescriptor)
	add = func(f protoreflect.FileDescriptor) {
		if seen[f.Path()] {
			return
		}
		seen[f.Path()] = true
		for i := range f.Imports().Len() {
			add(f.Imports().Get(i).FileDescriptor)
		}
		all = append(all, protoutil.ProtoFromFileDescriptor(f))
	}
	add(linked[0])
	return &pluginpb.CodeGeneratorRequest{FileToGenerate: []string{name}, ProtoFile: all}, nil
}

func generate(plugin string, request *pluginpb.CodeGeneratorRequest) ([]*pluginpb.CodeGeneratorResponse_File, error) {
	in, err := proto.Marshal(request)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("go", "tool", plugin)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", plugin, err)
	}
	var response pluginpb.CodeGeneratorResponse
	if err := proto.Unmarshal(out, &response); err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", plugin, err)
	}
	if response.Error != nil {
		return nil, fmt.Errorf("%s: %s", plugin, response.GetError())
	}
	return response.File, nil
}
