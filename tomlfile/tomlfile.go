// Package tomlfile reads configuration in TOML, strictly, for all programs: the trusted
// ones read their own file and their policy with it.
package tomlfile

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// ErrUnknownField is wrapped by the error for a field that nobody reads.
var ErrUnknownField = errors.New("unknown field")

// Decode reads b into v, a pointer to a struct whose fields are all that may stand there.
// An error begins with the line, counted from 1, and names the field if it is of one.
func Decode(b []byte, v any) error {
	err := toml.NewDecoder(bytes.NewReader(b)).DisallowUnknownFields().Decode(v)
	var strict *toml.StrictMissingError
	var at *toml.DecodeError
	switch {
	case errors.As(err, &strict) && len(strict.Errors) > 0:
		line, _ := strict.Errors[0].Position()
		return fmt.Errorf("line %d: %w %q", line, ErrUnknownField, strings.Join(strict.Errors[0].Key(), "."))
	case errors.As(err, &at):
		line, _ := at.Position()
		if k := at.Key(); len(k) > 0 {
			return fmt.Errorf("line %d: field %q: %w", line, strings.Join(k, "."), err)
		}
		return fmt.Errorf("line %d: %w", line, err)
	}
	return err
}
