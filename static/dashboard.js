// What the dashboard's pages do beside standing there: they stay fresh, and filter by themselves.

import "./panels.js";
import "./filters.js";
import "./selection.js";
