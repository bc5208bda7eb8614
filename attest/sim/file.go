package sim

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"latchkey/attest"
	"latchkey/wire"
)

// Both files are JSON, so that a person who opens one reads the warning first. They hold private
// keys: they are written with mode 0600, and a file that others may read is not opened.

const (
	warning        = "SIMULATED: this file stands for hardware and protects nothing. Whoever has it can claim to run any program."
	vendorFormat   = "latchkey-sim-vendor/1"
	platformFormat = "latchkey-sim-platform/1"
	maxFile        = 1 << 20
)

type vendorFile struct {
	Warning string       `json:"warning"`
	Format  string       `json:"format"`
	Name    string       `json:"name"`
	RootKey wire.Hash    `json:"root_key"` // seed (RFC 8032), 32 bytes
	Levels  []levelEntry `json:"levels"`
	Revoked []wire.Hash  `json:"revoked"`
}

type levelEntry struct {
	SVN    uint64           `json:"svn"`
	Status attest.TCBStatus `json:"status"`
}

type platformFile struct {
	Warning    string    `json:"warning"`
	Format     string    `json:"format"`
	Name       string    `json:"name"` // for people; not read
	DeviceKey  wire.Hash `json:"device_key"`
	SealSecret wire.Hash `json:"seal_secret"`
	SVN        uint64    `json:"svn"`
	Collateral []byte    `json:"collateral"` // CBOR, in base64
}

// Create writes the vendor to a new file, and fails with fs.ErrExist if there is one.
func (v *Vendor) Create(path string) error { return v.write(path, true) }

// Save writes the vendor to a file and replaces an older one.
func (v *Vendor) Save(path string) error { return v.write(path, false) }

func (v *Vendor) write(path string, fresh bool) error {
	f := vendorFile{Warning: warning, Format: vendorFormat, Name: v.name, RootKey: wire.Hash(v.root.Seed()), Revoked: v.revoked}
	for _, l := range v.levels {
		f.Levels = append(f.Levels, levelEntry(l))
	}
	return writeFile(path, f, fresh)
}

// OpenVendor reads a vendor's file.
func OpenVendor(path string) (*Vendor, error) {
	b, err := readFile(path)
	if err != nil {
		return nil, err
	}
	v, err := parseVendor(b)
	if err != nil {
		return nil, fmt.Errorf("simulated vendor %s: %w", path, err)
	}
	return v, nil
}

func parseVendor(b []byte) (*Vendor, error) {
	var f vendorFile
	if err := parseJSON(b, &f); err != nil {
		return nil, err
	}
	if f.Format != vendorFormat {
		return nil, fmt.Errorf("format %.80q, want %q", f.Format, vendorFormat)
	}
	if err := checkVendorName(f.Name); err != nil {
		return nil, err
	}
	if f.RootKey == (wire.Hash{}) {
		return nil, errors.New("the root key is missing")
	}
	v := &Vendor{name: f.Name, root: ed25519.NewKeyFromSeed(f.RootKey[:]), revoked: f.Revoked}
	for _, l := range f.Levels {
		v.levels = append(v.levels, level(l))
	}
	return v, list{Levels: v.levels, Revoked: v.revoked}.check()
}

// Create writes the platform to a new file, and fails with fs.ErrExist if there is one.
func (p *Platform) Create(path string) error { return p.write(path, true) }

// Save writes the platform to a file and replaces an older one.
func (p *Platform) Save(path string) error { return p.write(path, false) }

func (p *Platform) write(path string, fresh bool) error {
	coll, err := wire.Marshal(p.collateral)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return writeFile(path, platformFile{Warning: warning, Format: platformFormat, Name: p.String(),
		DeviceKey: wire.Hash(p.key.Seed()), SealSecret: p.secret, SVN: p.svn, Collateral: coll}, fresh)
}

// OpenPlatform reads a platform's file and checks that its key is the certified one.
func OpenPlatform(path string) (*Platform, error) {
	b, err := readFile(path)
	if err != nil {
		return nil, err
	}
	p, err := parsePlatform(b)
	if err != nil {
		return nil, fmt.Errorf("simulated platform %s: %w", path, err)
	}
	return p, nil
}

func parsePlatform(b []byte) (*Platform, error) {
	var f platformFile
	if err := parseJSON(b, &f); err != nil {
		return nil, err
	}
	if f.Format != platformFormat {
		return nil, fmt.Errorf("format %.80q, want %q", f.Format, platformFormat)
	}
	if f.DeviceKey == (wire.Hash{}) || f.SealSecret == (wire.Hash{}) {
		return nil, errors.New("the device key or the sealing secret is missing")
	}
	p := &Platform{key: ed25519.NewKeyFromSeed(f.DeviceKey[:]), secret: f.SealSecret, svn: f.SVN}
	if err := wire.Unmarshal(f.Collateral, &p.collateral); err != nil {
		return nil, fmt.Errorf("collateral: %w", err)
	}
	cert, _, err := p.collateral.open()
	if err != nil {
		return nil, err
	}
	if !p.public().Equal(ed25519.PublicKey(cert.Key)) {
		return nil, errors.New("the device key is not the one in the certificate")
	}
	return p, nil
}

// MeasureSelf returns the SHA-256 of the running program's executable file: what a simulated
// platform takes for its measurement.
func MeasureSelf() ([32]byte, error) {
	path, err := os.Executable()
	if err != nil {
		return [32]byte{}, fmt.Errorf("measure this program: %w", err)
	}
	return MeasureFile(path)
}

// MeasureFile returns the SHA-256 of a file: the measurement of the program in it.
func MeasureFile(path string) ([32]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return [32]byte{}, fmt.Errorf("measure program: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return [32]byte{}, fmt.Errorf("measure program: %w", err)
	}
	return [32]byte(h.Sum(nil)), nil
}

// parseJSON decodes exactly one JSON value without unknown fields. Its errors name no values, as
// these are secret.
func parseJSON(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		var syntax *json.SyntaxError
		switch {
		case errors.As(err, &syntax):
			return fmt.Errorf("not JSON at byte %d", syntax.Offset)
		case errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF):
			return errors.New("the file ends too early")
		}
		return fmt.Errorf("a field is unknown or of the wrong form near byte %d", d.InputOffset())
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the JSON value")
	}
	return nil
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open simulated hardware: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("open simulated hardware: %w", err)
	}
	if m := st.Mode(); !m.IsRegular() || m.Perm()&0o077 != 0 {
		return nil, fmt.Errorf("open simulated hardware: %s has mode %v and holds private keys; run: chmod 600 %s", path, m, path)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("open simulated hardware: %w", err)
	}
	if len(b) > maxFile {
		return nil, fmt.Errorf("open simulated hardware: %s is larger than %d bytes", path, maxFile)
	}
	return b, nil
}

// writeFile writes v as JSON such that a crash leaves the old file, the new one or none.
func writeFile(path string, v any, fresh bool) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("write simulated hardware: %w", err)
		}
	}()
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".sim-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if rm := os.Remove(f.Name()); rm != nil && !errors.Is(rm, fs.ErrNotExist) {
			err = errors.Join(err, rm)
		}
	}()
	_, err = f.Write(append(b, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if fresh {
		err = os.Link(f.Name(), path)
	} else {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
