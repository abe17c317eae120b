package app

import "github.com/understudy-db/understudy/controlplane/internal/store"

// Store is where the control plane keeps its records.
func (a *App) Store() *store.Store { return a.st }
