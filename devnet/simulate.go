package devnet

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"latchkey/attest"
	"latchkey/attest/policyfile"
	"latchkey/attest/sim"
)

// A Vendor is a SIMULATED vendor of trusted execution environments, and the names
// of the platforms that it issues.
type Vendor struct {
	Name      string // SIMULATED is put before it where it is not there
	Platforms []string
}

// Simulate makes vendors and platforms, and the one policy that all parties pin:
// these vendors, and the very vault program at a path. Into the folder go NAME.json
// for each platform and policy.toml; what is there already is left, and is an error.
func Simulate(folder, vault string, vendors []Vendor) error {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	measured, err := sim.MeasureFile(vault)
	if err != nil {
		return err
	}
	var roots []attest.Root
	now := time.Now().Unix()
	for _, v := range vendors {
		vendor, err := sim.NewVendor(v.Name, rand.Reader)
		if err != nil {
			return err
		}
		if err := vendor.Rate(1, attest.TCBUpToDate); err != nil {
			return err
		}
		roots = append(roots, vendor.Root())
		for _, name := range v.Platforms {
			p, err := vendor.Issue(sim.Device{
				Class: attest.IsolatedProgram, Kind: attest.DeviceUnique, SVN: 1, NotBefore: now - 3600, NotAfter: now + 365*86400,
			}, rand.Reader)
			if err != nil {
				return err
			}
			if err := p.Create(filepath.Join(folder, name+".json")); err != nil {
				return err
			}
		}
	}
	policy, err := policyfile.Format(sim.InsecurePolicy(roots, sim.Build("vault of this build", measured)))
	if err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(folder, "policy.toml"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.Write(policy); err != nil {
		_ = f.Close()
		return fmt.Errorf("policy: %w", err)
	}
	return f.Close()
}
