package nodehost

import (
	"encoding/json"
	"fmt"
	"os"

	"scstuser/ioctl/abi"
	"scstuser/ioctl/node"
	"scstuser/ucmd"
)

// Config is what a test wants of its host. The zero value is what Start gives.
type Config struct {
	// NoExport: nothing is exported, so that the only initiator is that of Say.
	NoExport bool
	// MaxUcmds is how many commands a device may have, 0 for the default.
	MaxUcmds int
	// Versions is the whole list of versions that may register, empty for the
	// default (R5).
	Versions []string
}

// configVariable is the environment variable that holds it for the process.
const configVariable = "SCSTUSER_TEST_NODEHOST_CONFIG"

// variable is the environment variable with its value.
func (c *Config) variable() string {
	text, err := json.Marshal(c)
	if err != nil {
		panic(err) // of a struct that has plain members
	}
	return configVariable + "=" + string(text)
}

// readConfig is the process's.
func readConfig() (c Config, err error) {
	if err := json.Unmarshal([]byte(os.Getenv(configVariable)), &c); err != nil {
		return c, fmt.Errorf("%s: %w", configVariable, err)
	}
	return c, nil
}

// apply changes what a host is made with.
func (c *Config) apply(o *node.Options) {
	o.Limits = ucmd.Limits{MaxUcmds: c.MaxUcmds}
	o.Versions = abi.Versions{Exact: c.Versions}
	if c.NoExport {
		o.Serve = nil
	}
}
